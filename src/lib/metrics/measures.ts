import { Counter, Histogram, Level, type MetricFamily } from './instruments.ts'

const quick = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const long = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400]
const late = [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 600, 3600]

/** What the process counts as it happens; on Workers the isolate. Everything is measured here, nothing is worked out later. */
export class Measures {
  readonly runsStarted = new Counter('automatos_runs_started_total', 'Runs that were claimed for the first time.', [
    'trigger',
  ])
  readonly runsFinished = new Counter('automatos_runs_finished_total', 'Runs that ended, by their final state.', [
    'state',
  ])
  readonly runDuration = new Histogram(
    'automatos_run_duration_seconds',
    'From the first claim of a run to its end, waits included.',
    ['state'],
    long,
  )
  readonly runsInFlight = new Level('automatos_runs_in_flight', 'Runs that this process holds under a lease.')
  readonly leasesLost = new Counter(
    'automatos_leases_lost_total',
    'Runs that another worker took over while this process held them.',
    [],
  )
  readonly leasesRecovered = new Counter(
    'automatos_leases_recovered_total',
    'Runs of other workers that this process gave back to the queue because their lease had run out.',
    [],
  )
  readonly steps = new Counter('automatos_steps_total', 'Steps that ended, by kind and status.', ['kind', 'status'])
  readonly stepDuration = new Histogram(
    'automatos_step_duration_seconds',
    'From the start of a step in this process to its end, retries included.',
    ['kind'],
    quick,
  )
  readonly stepRetries = new Counter('automatos_step_retries_total', 'Attempts that failed and are tried again.', [
    'kind',
  ])
  readonly scheduleLag = new Histogram(
    'automatos_schedule_lag_seconds',
    'From the time a slot was due to the tick that fired it.',
    [],
    late,
  )
  readonly scheduleSlots = new Counter(
    'automatos_schedule_slots_total',
    'Slots by what was decided; one that is held back counts as pending, and again when its time has come.',
    ['status'],
  )
  readonly modelCalls = new Counter('automatos_model_calls_total', 'Calls of models, by how they ended.', [
    'provider',
    'model',
    'status',
  ])
  readonly modelTokens = new Counter(
    'automatos_model_tokens_total',
    'Tokens that providers reported. Cached input is part of input, reasoning part of output.',
    ['provider', 'model', 'type'],
  )
  readonly modelCost = new Counter('automatos_model_cost_usd_total', 'Dollars of the calls whose price is known.', [
    'provider',
    'model',
  ])
  readonly modelUnpriced = new Counter(
    'automatos_model_calls_unpriced_total',
    'Calls whose price is not known: they are missing in the cost.',
    ['provider', 'model'],
  )
  readonly modelDuration = new Histogram(
    'automatos_model_call_duration_seconds',
    'From the request to the end of the answer.',
    ['provider', 'model'],
    quick,
  )
  readonly toolCalls = new Counter('automatos_tool_calls_total', 'Calls of tools by agents.', ['tool', 'status'])
  readonly limiterFailures = new Counter(
    'automatos_limiter_failures_total',
    'Requests that passed unlimited because the limiter failed.',
    [],
  )
  readonly eventStreams = new Level('automatos_event_streams_open', 'Event streams that clients follow.')

  families(): MetricFamily[] {
    return Object.values(this).map((instrument: { family(): MetricFamily }) => instrument.family())
  }
}
