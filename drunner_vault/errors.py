"""Every error a person can meet, as one tree.

    VaultError                      exit 1
    ├── BadUsage                    the command line or the settings ask for something impossible
    ├── NoChange                    exit 3: there was nothing to do
    ├── Interrupted                 exit 130: Ctrl-C or a signal
    ├── KeyProblem                  recipients, identities, passphrases
    │   ├── NoKey                   none was given
    │   ├── WrongKey                none that was given opens this archive
    │   └── BadKey                  one that was given cannot be read
    ├── ArchiveError
    │   ├── NotAnArchive            these bytes were never one of ours
    │   ├── UnsupportedArchive      a version or mandatory feature this program does not know
    │   └── DamagedArchive          cut short, flipped, or inconsistent with itself
    ├── StorageError                files and stores
    │   ├── AlreadyExists
    │   ├── NotFound
    │   ├── NoSpace
    │   ├── AccessDenied            what we log in with may not do this
    │   ├── Locked                  may not be deleted before a certain day
    │   ├── Unsupported             this kind of store cannot do this
    │   └── Unavailable             for now; the same again may well succeed
    ├── EngineError                 Docker
    │   ├── EngineDown
    │   ├── ImageNotFound
    │   └── VolumeProblem
    └── ServiceError                dRunner services
        ├── BadServiceName
        ├── UnknownService
        ├── ServiceExists
        ├── ServiceBusy
        ├── BadImage                the image is not a service
        ├── DrillFailed             an archive was drilled, and its service did not come back
        └── HookFailed

The message says what failed and why; the hint says what to do next. Both are one line, without a full stop at
the end of the hint's command, so that it can be copied. Errors of libraries are turned into these where they enter.
"""

from __future__ import annotations


class VaultError(Exception):
    """Base of all errors that are shown to a person.

    message: what failed, and why, in one line.
    hint: what to do next, in one line; empty where nothing can be advised.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadUsage(VaultError):
    """The command line, environment or settings ask for something that cannot be done."""


class NoChange(VaultError):
    """Nothing to do: the host already is as asked."""

    exit_code = 3


class Interrupted(VaultError):
    """A person or a signal ended the work; everything was undone."""

    exit_code = 130


class KeyProblem(VaultError):
    """Something about recipients, identities or passphrases."""


class NoKey(KeyProblem):
    """No recipient, identity or passphrase was given."""


class WrongKey(KeyProblem):
    """None of the identities or passphrases offered opens this archive."""


class BadKey(KeyProblem):
    """A recipient, identity or key file cannot be understood."""


class ArchiveError(VaultError):
    """Something about the bytes of an archive."""


class NotAnArchive(ArchiveError):
    """These bytes were never an archive of this format."""


class UnsupportedArchive(ArchiveError):
    """A valid archive that needs a newer or different reader."""


class DamagedArchive(ArchiveError):
    """An archive that is cut short, altered, or contradicts itself."""


class StorageError(VaultError):
    """A file or store could not be read or written."""


class AlreadyExists(StorageError):
    """The target is there already, and we never overwrite."""


class NotFound(StorageError):
    """The file or object is not there. No other failure is ever reported as this."""


class NoSpace(StorageError):
    """The disk or the quota at the target is full."""


class AccessDenied(StorageError):
    """The permissions, or the credentials, do not allow it."""


class Locked(StorageError):
    """The object may not be deleted before a certain day."""


class Unsupported(StorageError):
    """This kind of store, or this server, cannot do what was asked."""


class Unavailable(StorageError):
    """The store does not answer, or not now: the only failure after which trying again makes sense."""


class EngineError(VaultError):
    """The Docker engine refused or failed."""


class EngineDown(EngineError):
    """No Docker engine answers."""


class ImageNotFound(EngineError):
    """The image is neither here nor to be pulled."""


class VolumeProblem(EngineError):
    """A volume is missing, in use, or cannot be read or written."""


class ServiceError(VaultError):
    """Something about a dRunner service."""


class BadServiceName(ServiceError):
    """A service name that is impossible, reserved or hostile."""


class UnknownService(ServiceError):
    """No service of this name is installed."""


class ServiceExists(ServiceError):
    """A service of this name, or something it would own, is already here."""


class ServiceBusy(ServiceError):
    """Another command is working on the same service."""


class BadImage(ServiceError):
    """The image does not follow the service conventions."""


class DrillFailed(ServiceError):
    """A service was restored for a drill, or was to be, and is not well."""


class HookFailed(ServiceError):
    """One of the service's own hooks returned an error.

    hook: its name, as the service knows it. code: its exit status. output: the end of what it printed.
    """

    def __init__(self, message: str, hint: str = "", *, hook: str = "", code: int = 1, output: str = "") -> None:
        super().__init__(message, hint)
        self.hook = hook
        self.code = code
        self.output = output
