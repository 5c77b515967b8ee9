import flor_ray as flor

class Net(nn.Module):
    def forward(self, video):
        flor.log("mean", video.mean())  # carry
        x = self.embed(video)
        return self.head(x)
