class Distiller:
    def __init__(self, teacher, student):
        self.teacher = teacher
        self.student = student

    def step(self, x):
        guess = self.student(x)
        target = self.teacher(x)
        penalty = (guess - target).square().mean()
        return guess.mean() + target.mean()
