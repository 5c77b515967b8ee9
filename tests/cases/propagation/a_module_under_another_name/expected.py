import json

import flor_ray as flor

text = json.dumps({})
flor.log("size", len(json.dumps({}, indent=1)))
done(text)
