from tools import Brain, dataset, hparams, load_tokenizer

brain = Brain(hparams)
brain.tokenizer = load_tokenizer(hparams.tokenizer_file)
train_data, valid_data = dataset(hparams, brain.tokenizer)
brain.tokenizer.add_blank()  # carry
brain.fit(train_data, valid_data)
brain.evaluate(valid_data)
