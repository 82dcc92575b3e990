"""Puts a file into a bucket of the local target.

    python3 put.py FILE URL
"""

import sys
import urllib.request
from pathlib import Path

file, url = sys.argv[1:]
headers = {
    "Content-Type": "video/x-msvideo",
    # By its scope the runtime finds the service; nothing else of it is looked at.
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none",
}
request = urllib.request.Request(url, data=Path(file).read_bytes(), headers=headers, method="PUT")
# Loopback is reached directly, whatever proxies the environment names.
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)
