# file_of_another_program
# Expected: from further back, where the other program writes it again: the run itself did not read it, so it was not kept.
# Conditions: {"files": {".gitignore": "steps.txt\n"}, "where": ["epoch == 4"]}
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
with open("steps.txt", "w") as file:
    file.write("0")
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(5)):
        os.system("echo $(($(cat steps.txt) + 1)) > steps.txt")
        for step in flor.loop("step", range(3)):
            loss = train(net, opt)
        flor.log("loss", loss)
#H         flor.log("y", open("steps.txt").read())
