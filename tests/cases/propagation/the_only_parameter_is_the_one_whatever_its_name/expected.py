import flor_ray as flor

class Net(nn.Module):
    def forward(self, img):
        flor.log("mean", img.mean())
        x = self.embed(img)
        return self.head(x)
