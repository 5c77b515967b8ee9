import torch

torch.manual_seed(1)
torch.backends.cuda.matmul.allow_tf32 = True  # carry
torch.backends.cudnn.allow_tf32 = True
if again:
    torch.backends.cuda.matmul.allow_tf32 = False
    print(torch.backends.cuda.matmul)
