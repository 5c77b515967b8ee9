# Conditions: {"warned": true}
x = np.random.randn(8)
#H flor.log("xs", x.sum())
np.random.seed(0)
for epoch in flor.loop("epoch", range(3)):
    flor.log("r", np.random.rand())
#H     flor.log("r2", float(x[epoch]))
