from tools import Trainer, arguments, environ, join, open_log

if __name__ == "__main__":
    args = arguments()
    count = int(environ["COUNT"]) if "COUNT" in environ else 1
    args.many = count > 1
    if args.many:
        join(args.place)
    log = open_log(args.folder, count)
    log.tell("using {}".format(count))
    log.tell(args)

    trainer = Trainer(args)  # carry
    trainer.train()
