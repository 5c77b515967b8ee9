from tools import Trainer, arguments

if __name__ == "__main__":
    args = arguments()
    if args.rate_only:
        print("rating", args.resume)
        trainer.rate(args.first)
    else:
        print("training", args.first, args.last)
        trainer.train()
