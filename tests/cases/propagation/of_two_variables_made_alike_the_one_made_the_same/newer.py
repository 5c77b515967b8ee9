from tools import arguments, make_loader, run

settings = arguments()
train_loader = make_loader(settings, True)
check_loader = make_loader(settings, False)
run(settings, train_loader, check_loader)  # carry
