from training import Trainer


def main(settings):
    trainer = Trainer(
        settings.model,
        settings.loss,
        optimizer=settings.optimizer,
        watch=settings.watch,
    )
    trainer.train()  # carry
