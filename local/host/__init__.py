"""The Functions host of the local cloud: runs an app through Microsoft's own Python worker library, without `func`."""
