from tools import arguments, make_loader, run

settings = arguments()
train_set = make_loader(settings, True)
check_set = make_loader(settings, False)
