import json

import flor_ray as flor

text = json.dumps({})
done(text)
