from training import Trainer


def main(settings):
    trainer_log = settings.log
    trainer_ = Trainer(settings.model, settings.loss, settings.folder)
    trainer_.train()
