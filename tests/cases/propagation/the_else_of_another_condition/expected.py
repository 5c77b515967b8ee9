from models import LargeModel, LargeReader, RankingModel, SmallModel, SmallReader


def load(args, config):
    check(args)
    if config.mode == "ranking":
        model = RankingModel.open(args.checkpoint)
    else:
        model = SmallModel.open(args.checkpoint)
    model.to(args.device)
    return model
