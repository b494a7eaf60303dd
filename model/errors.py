"""Errors that a person can act on.

    OpalError                 one clear line: what is wrong, where, what to do
    ├── InputError            data given by a person: file, line, field
    ├── BundleError           a bundle that must not go live
    └── RegistryError         a registry that cannot do what was asked

Commands print the message and exit with 1; the service turns it into a problem document. Anything
else that escapes is a defect of ours and keeps its traceback.
"""


class OpalError(Exception):
    """Base of the errors whose message is written for the person who caused them."""


class InputError(OpalError):
    """Input that cannot be used; the message names the file, line and field where it can."""


class BundleError(OpalError):
    """A bundle that is damaged, incomplete or of another format."""


class RegistryError(OpalError):
    """A registry that lacks what was asked for."""
