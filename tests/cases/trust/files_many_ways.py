# files_many_ways
# Expected: each epoch reads what the recorded run read there: files are replaced, appended to, removed, and kept by epoch.
# Conditions: {"files": {".gitignore": "*.pt\n*.npy\n*.json\n*.log\n"}, "where": ["epoch == 4", "epoch == 2", null]}
import json
import shutil
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
if os.path.exists("history.json"):
    raise SystemExit("there is a history already")
with flor.checkpointing(net=net, opt=opt):
    for epoch in flor.loop("epoch", range(6)):
        for step in flor.loop("step", range(2)):
            loss = train(net, opt)
        torch.save(net.state_dict(), "new.pt")
        os.replace("new.pt", "last.pt")
        torch.save(net.state_dict(), f"ckpt_{epoch}.pt")
        if epoch >= 2:
            os.remove(f"ckpt_{epoch - 2}.pt")
        np.save("weights.npy", net.weight.detach().numpy() + (0 if epoch == 0 else np.load("weights.npy")))
        history = json.load(open("history.json")) if epoch else []
        with open("history.json", "w") as file:
            json.dump([*history, loss], file)
        with open("all.log", "a") as file:
            file.write(f"{loss}\n")
        shutil.copy("last.pt", "best.pt") if epoch == 3 else None
        flor.log("loss", loss)
#H         flor.log("lines", len(open("all.log").readlines()))
#H         flor.log("kept", sorted(name for name in os.listdir() if name.startswith("ckpt_")))
        flor.log("losses", len(history))
#H         flor.log("w", float(np.load("weights.npy").sum()))
net.load_state_dict(torch.load("best.pt"))
#H flor.log("z", total(net))
