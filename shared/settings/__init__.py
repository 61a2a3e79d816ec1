"""What the configuration says: `load` reads the file and the app settings, `model` holds the values."""

from shared.settings.load import load

__all__ = ["load"]
