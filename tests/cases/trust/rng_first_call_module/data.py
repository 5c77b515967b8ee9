import torch
import flor_ray as flor
torch.manual_seed(5)
X = torch.randn(10, 4)
#H flor.log("x0", X.norm().item())
perm = torch.randperm(10)
#H flor.log("p0", perm[0].item())
n = flor.arg("n", 10)
X = X[perm] + torch.randn(10, 4)
#H flor.log("x1", X.norm().item())
