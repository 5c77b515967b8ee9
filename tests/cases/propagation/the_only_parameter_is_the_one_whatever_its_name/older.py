import flor_ray as flor

class Net(nn.Module):
    def forward(self, img):
        x = self.embed(img)
        return self.head(x)
