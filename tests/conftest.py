"""What all tests share: property tests explore anew on a developer's machine, and repeat themselves in CI."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
