"""The ops of this package in plain torch, for any device that torch has: no native library, no waiting for the device.

Names, arguments and results are those of the modules one folder up, but for what each module here says.
"""
