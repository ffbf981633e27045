/** What ends a run's advance from outside its steps. Never caught by a step's own error handling. */
export abstract class Interruption extends Error {}

export class RunCanceled extends Interruption {
  readonly reason: string
  constructor(reason: string) {
    super(`The run was canceled: ${reason}`)
    this.reason = reason
  }
}

/** The run's own time limit is over. */
export class RunTimedOut extends Interruption {
  constructor() {
    super('The run took longer than settings.timeout allows.')
  }
}

/** An operator wants the run to stand still: no step begins, what is under way has come to its end. */
export class RunPaused extends Interruption {
  constructor() {
    super('The run is paused.')
  }
}

/** This process stops advancing the run and hands it back; another goes on where it stands. */
export class RunReleased extends Interruption {
  constructor() {
    super('The run is handed back.')
  }
}

/** The database refused what the run wrote, and dropped it: nothing may build on it any more. */
export class CheckpointRefused extends Interruption {
  constructor(cause: unknown) {
    super('The database refused values of the run.', { cause })
  }
}

/** A step of the same graph, or an item of the same fail_fast foreach, has failed. What is made `once` and was sent ends nonetheless. */
export class ItemAborted extends Interruption {
  constructor() {
    super('Another item has failed.')
  }
}
