import flor_ray as flor
from train_tools import Net, train_step, test_loader, train_loader

model = Net()
for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", train_loader):
        train_step(model, batch)
    correct = 0
    total = 0
    for images, labels in test_loader:
        outputs = model(images)
        predicted = outputs.argmax(1)
        total += labels.size(0)
        correct += (predicted == labels).sum().item()
    accuracy = 100 * correct / total
    print(epoch, accuracy)
