import flor_ray as flor
class Node:
    def __init__(self, parent):
        self.parent, self.n = parent, 0
        self.children = []
root = Node(None)
kids = [Node(root), Node(root)]
root.children = kids
lookup = {"a": kids[0]}
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        lookup["a"].n += 1
        kids[1].parent.n += 3
        kids.append(Node(kids[-1]))
    flor.log("tail", [root.n, kids[0].n, len(root.children), kids[-1].parent.n])
flor.log("suffix", [root.n, lookup["a"].n, len(root.children)])
