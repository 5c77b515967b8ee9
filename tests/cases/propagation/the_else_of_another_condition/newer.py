from models import LargeModel, LargeReader, RankingModel, SmallModel, SmallReader


def load(args, config):
    check(args)
    if "large" in args.checkpoint:
        reader = LargeReader.open(args.checkpoint)
        model = LargeModel.open(args.checkpoint, config.mode)
    else:
        reader = SmallReader.open(args.checkpoint)  # carry
        model = SmallModel.open(args.checkpoint, config.mode)
    model.to(args.device)
    return model
