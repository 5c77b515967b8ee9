from .parts import Out, Up


class Net:
    def __init__(self):
        self.a = Up(3)
        self.b = Out(4)  # carry
        self.c = Up(5)
