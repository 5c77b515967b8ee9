import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerModel

import flor_ray as flor

torch.manual_seed(0)
pixels, labels = torch.rand(2, 3, 32, 32), torch.randint(0, 2, (2, 8, 8))
sizes = {"depths": [1, 1], "hidden_sizes": [8, 16], "num_attention_heads": [1, 2], "sr_ratios": [2, 1]}
shapes = {"patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2], "decoder_hidden_size": 16}
config = SegformerConfig(num_encoder_blocks=2, **sizes, **shapes, attn_implementation="eager")
segmenter = SegformerForSemanticSegmentation(config)  # puts hooks on itself in the first step
encoder = SegformerModel(config)  # does so once it is asked for attentions
opt = torch.optim.SGD([*segmenter.parameters(), *encoder.parameters()], lr=0.1)
flor.checkpointing(segmenter=segmenter, encoder=encoder, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        opt.zero_grad()
        loss = segmenter(pixel_values=pixels, labels=labels).loss + encoder(pixel_values=pixels)[0].square().mean()
        loss.backward()
        opt.step()
        flor.log("loss", loss.item())
    segmenter.eval()
    encoder.eval()
    with torch.no_grad():
        found = segmenter(pixel_values=pixels, output_hidden_states=True).hidden_states
        flor.log("stages", [float(stage.square().sum()) for stage in found])
        if epoch > 1:
            found = encoder(pixel_values=pixels, output_attentions=True).attentions
            flor.log("attentions", [float(each.square().sum()) for each in found])
    segmenter.train()
    encoder.train()
    flor.log("hooks", [sum(len(m._forward_hooks) for m in model.modules()) for model in (segmenter, encoder)])
flor.log("suffix", sum(len(m._forward_hooks) for m in encoder.modules()))
