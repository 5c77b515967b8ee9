import flor_ray as flor
from tools import net, loader, step, make, show, norm
for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
    total = norm(net)
    total = total + norm(0)
    total = total + norm(1)
    total = total + norm(2)
    total = total + norm(3)
    total = total + norm(4)
    total = total + norm(5)
    total = total + norm(6)
    total = total + norm(7)
    total = total + norm(8)
    total = total + norm(9)
    total = total + norm(10)
    total = total + norm(11)
    parts = [
        total * 0,
        total * 1,
        total * 2,
        total * 3,
        total * 4,
        total * 5,
        total * 6,
        total * 7,
        total * 8,
        total * 9,
        total * 10,
        total * 11,
        total * 12,
        total * 13,
        total * 14,
        total * 15,
        total * 16,
        total * 17,
        total * 18,
        total * 19,
    ]
    flor.log("parts", parts)  # carry
