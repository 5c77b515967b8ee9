from tools import confusion, fit, loader, net


def report(truth, predicted):
    matrix = confusion(truth, predicted)
    accuracy = matrix.diagonal().sum() / matrix.sum()  # carry
    print(matrix)


for epoch in range(10):
    fit(net, loader)
    report(*net.predict(loader))
