"""Send a signed delivery as a shop would: send.py EVENTSOURCE-AS-JSON SECRET BODY"""

import hashlib
import hmac
import json
import sys
import urllib.error
import urllib.request

source, secret, body = sys.argv[1:]
url = json.loads(source)["status"]["addresses"][0]["value"]
signature = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
headers = {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}
try:
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers)) as reply:
        print(reply.status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
