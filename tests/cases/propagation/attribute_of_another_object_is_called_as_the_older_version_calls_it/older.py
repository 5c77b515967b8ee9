from tools import Brain, dataset, hparams, load_tokenizer

brain = Brain(hparams)
brain.label_encoder = load_tokenizer(hparams.tokenizer_file)
train_data, valid_data = dataset(hparams, brain.label_encoder)
brain.fit(train_data, valid_data)
brain.evaluate(valid_data)
