"""Reads the Content Credentials of a file with c2pa-python, and prints what it finds as JSON.

Usage: c2pa.py LIBRARY FILE MIME [SIDECAR]
"""

import json
import sys

library, path, mime = sys.argv[1:4]
sys.path.insert(0, library)
import c2pa  # noqa: E402

beside = [open(sidecar, "rb").read() for sidecar in sys.argv[4:]]
with open(path, "rb") as file:
    told = json.loads(c2pa.Reader(mime, file, *beside).json())
active = told["manifests"][told["active_manifest"]]
actions = [a for found in active["assertions"] if found["label"].startswith("c2pa.actions") for a in found["data"]["actions"]]
print(json.dumps({
    "state": told["validation_state"],
    "problems": [problem["code"] for problem in told.get("validation_status", [])],
    "issuer": active["signature_info"]["issuer"],
    "actions": [action["action"] for action in actions],
    "kinds": [action["digitalSourceType"] for action in actions if "digitalSourceType" in action],
    "origins": [origin["title"] for origin in active["ingredients"]],
}))
