# files_of_programs
# Expected: what a program that the script starts has written is there as it was, or is made again from further back.
# Conditions: {"where": ["epoch == 3", null]}
import subprocess
net = nn.Linear(4, 1); opt = torch.optim.SGD(net.parameters(), lr=0.1)
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(5)):
        loss = train(net, opt)
        subprocess.run([sys.executable, "-c", f"open('count.txt','a').write('{epoch}\\n')"], check=True)
        res = len(open("count.txt").read())
        flor.log("loss", loss)
        flor.log("res", res)
#H         flor.log("lines", open("count.txt").read().split())
#H         flor.log("there", [os.path.exists("count.txt"), sorted(n for n in os.listdir(".") if n.endswith(".txt"))])
#H         flor.log("w", total(net))
