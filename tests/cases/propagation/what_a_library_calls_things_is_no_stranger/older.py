import torch

torch.manual_seed(1)
torch.backends.cudnn.allow_tf32 = True
