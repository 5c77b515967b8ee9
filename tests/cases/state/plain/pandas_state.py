import flor_ray as flor
import pandas as pd
df = pd.DataFrame({"a": [0.0]})
alias = [df]
table = pd.DataFrame({"a": []})
def put(d, i): d.loc[i, "a"] = float(i)
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        put(df, epoch * 2 + step)
        table = pd.concat([table, pd.DataFrame({"a": [step]})])
    flor.log("tail", [float(alias[0]["a"].sum()), len(alias[0]), len(table)])
flor.log("suffix", [len(df), len(table)])
