"""Every error Tidemill raises, in one tree.

```
TidemillError
├── DefinitionError               a @flow or @task is declared wrongly         (also TypeError, ValueError)
│   ├── InvalidNameError
│   └── ReservedArgumentError
├── ParameterTypeError            a value does not fit its annotation          (also TypeError)
├── RunError                      a run did not give a value
│   ├── FailedRun
│   ├── CrashedRun
│   ├── CancelledRun
│   ├── PausedRun
│   ├── UnfinishedRun
│   └── MissingResult
├── RunTimeoutError               a run was stopped at its time limit          (also TimeoutError)
│   ├── FlowRunTimeoutError
│   └── TaskRunTimeoutError
├── OrchestrationError            a run may not do what was asked
│   ├── IllegalTransition
│   ├── FlowRunIsLive
│   └── FencedRun
├── MissingContextError           called outside a run                         (also RuntimeError)
├── ObjectNotFound
│   └── AmbiguousName
├── ObjectExists                  something of this name is there already
├── FlowNotLoaded                 a flow's file does not give the flow any more
├── ChildDied                     a child process ended before it replied
├── RaisedInChild                 an exception of a child process cannot be brought here
├── SettingsError                 a setting or profile is wrong                (also ValueError)
├── SerializationError            a value cannot be turned into bytes or back
└── StoreError                    the database cannot do its work
    ├── StoreFull
    ├── StoreReadOnly
    ├── StoreCorrupt
    ├── StoreTooNew
    ├── StoreBusy
    ├── StoreUnreachable
    └── ServerRefused             the server does not take what this process sends
TerminationSignal                 SIGTERM arrived                              (a SystemExit, so it unwinds)
```

A class's docstring is its default message.
"""

from __future__ import annotations

from inspect import cleandoc


class TidemillError(Exception):
    """Tidemill could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or cleandoc(type(self).__doc__ or ""))


class DefinitionError(TidemillError, TypeError, ValueError):
    """A flow or task is declared wrongly."""


class InvalidNameError(DefinitionError):
    """A name contains a character that is not allowed in names: / % & > <"""


class ReservedArgumentError(DefinitionError):
    """A parameter of the function has a name that Tidemill uses itself."""


class ParameterTypeError(TidemillError, TypeError):
    """Flow run received invalid parameters."""


class RunError(TidemillError):
    """The run has no value to give."""


class FailedRun(RunError):
    """The run failed."""


class CrashedRun(RunError):
    """The run crashed."""


class CancelledRun(RunError):
    """The run was cancelled."""


class PausedRun(RunError):
    """The run is paused; resume it to get its result."""


class UnfinishedRun(RunError):
    """The run has not finished, so it has no result yet."""


class MissingResult(RunError):
    """The run's result was not kept."""


class RunTimeoutError(TidemillError, TimeoutError):
    """The run was stopped at its time limit."""


class FlowRunTimeoutError(RunTimeoutError):
    """The flow run was stopped at its time limit."""


class TaskRunTimeoutError(RunTimeoutError):
    """The task run was stopped at its time limit."""


class OrchestrationError(TidemillError):
    """The run may not do this now."""


class IllegalTransition(OrchestrationError):
    """The run cannot go from its state to the one proposed."""


class FlowRunIsLive(OrchestrationError):
    """A process works on the flow run; nobody else can, until it has ended."""


class FencedRun(OrchestrationError):
    """Another attempt of this run has taken over, or the run was deleted; what this process does for it is not recorded."""


class MissingContextError(TidemillError, RuntimeError):
    """There is no active flow or task run here."""


class ObjectNotFound(TidemillError):
    """Nothing is recorded under this name or id."""


class AmbiguousName(ObjectNotFound):
    """Several runs answer to this name; use the id."""


class ObjectExists(TidemillError):
    """Something of this name is there already."""


class FlowNotLoaded(TidemillError):
    """The flow cannot be loaded from its recorded entry point."""


class ChildDied(TidemillError):
    """The child process ended before it replied.

    Attributes:
        exit_code: what it exited with; None if a signal ended it.
        signal: the number of the signal that ended it, or None.
        stopped: whether this process ended it.
        begun: whether the call may have begun; if not, it can safely be made again in another child.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        exit_code: int | None = None,
        signal: int | None = None,
        stopped: bool = False,
        begun: bool = True,
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal
        self.stopped = stopped
        self.begun = begun


class RaisedInChild(TidemillError):
    """A function called in a child process raised an exception that cannot be brought here; its text is in the message."""


class SettingsError(TidemillError, ValueError):
    """A setting has a value that it cannot have."""


class SerializationError(TidemillError):
    """The value cannot be turned into bytes."""


class StoreError(TidemillError):
    """The database cannot do its work."""


class StoreFull(StoreError):
    """The disk that holds the database is full."""


class StoreReadOnly(StoreError):
    """The database, or the folder it lives in, cannot be written."""


class StoreCorrupt(StoreError):
    """The database file is damaged or is not a database."""


class StoreTooNew(StoreError):
    """The database was written by a newer Tidemill."""


class StoreBusy(StoreError):
    """The database has too much to do, or others hold what is needed."""


class StoreUnreachable(StoreError):
    """The database cannot be opened."""


class ServerRefused(StoreError):
    """The server at TIDEMILL_API_URL does not take what this process sends."""


class TerminationSignal(SystemExit):
    """SIGTERM arrived: unwinds like `sys.exit`, with the status a shell reports for that signal (143)."""

    def __init__(self) -> None:
        super().__init__(128 + 15)
