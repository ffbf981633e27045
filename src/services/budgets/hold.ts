import type { ServiceContext } from '../../context.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { reserve, type Refusal, type Reservation, type Verdict } from './reserve.ts'
import { settle } from './settle.ts'

/** What bounds a call besides workspace, key and agent. */
export interface Above {
  /** Recipes whose executions the call is made in. */
  recipes: readonly string[]
  workflow: string | null
  /** Runs with a budget of their own. */
  runs: readonly string[]
}
export const nothingAbove: Above = { recipes: [], workflow: null, runs: [] }

/** Who pays for the calls of one round with a model. */
export interface Charge {
  /** Names the round; each call of its chain of models has a name of its own below it. */
  key: string
  attempt: number
  keyId: string | null
  agentId: string | null
  /** Asked before each call that can cost something. */
  above(): Promise<Above>
  /** Makes the rows of workflows and runs that have a budget and none yet. */
  prepare(): Promise<void>
  /** Asks the database, again where it does not answer. */
  steadily<T>(statement: () => Promise<T>): Promise<T>
  /** A bound that is kept elsewhere: throws where it does not let the call through. */
  check?(call: { who: string; priced: boolean }): void
  /**
   * For who cannot come again: waits a little where all that is left is reserved by calls under way. False: no longer. Where it
   * is missing, such a call is refused at once.
   */
  whileBusy?(looks: number, signal: AbortSignal | undefined): Promise<boolean>
  /** What a call had reserved is free again. */
  settled?(): void
}

/** A call outside of any run: the workspace and the key pay. */
export const ownCharge = ({ actor }: Pick<ServiceContext, 'actor'>): Charge => ({
  key: uuidv7(),
  attempt: 1,
  keyId: actor.kind === 'key' ? actor.id : null,
  agentId: null,
  above: async () => nothingAbove,
  prepare: async () => {},
  steadily: (statement) => statement(),
})

/** A budget does not let a call through. */
export class BudgetRefusal extends Error {
  readonly refusal: Refusal
  constructor(refusal: Refusal, who: string) {
    super(sentence(refusal, who))
    this.name = 'BudgetRefusal'
    this.refusal = refusal
  }
}

function sentence({ reason, limitUsd }: Refusal, who: string): string {
  switch (reason) {
    case 'price_unknown':
      return `The price of ${who} is not known, so no budget can be kept with it.`
    case 'cost_unknown':
      return 'The cost of an earlier call is not known, so the budget cannot be kept.'
    case 'exceeded':
      return `The budget of ${limitUsd} USD is spent.`
    case 'busy':
      return `What is left of the budget of ${limitUsd} USD is reserved by calls under way.`
  }
}

export interface Hold {
  /** Tells what the call has cost; null: that is not known. Never throws: what cannot be told lapses. */
  settle(cost: string | null): Promise<void>
}

/** Beyond the time limit of a call: for its answer to be read and told. */
const graceSeconds = 300

interface BoundCall {
  /** Of the chain of models. */
  index: number
  /** Provider and model, for people. */
  who: string
  /** Whether the workspace has budgets, and whether its workflow has one. */
  bounded: boolean
  workflowBounded: boolean
  /** What it costs at most, as exact decimal; null: its price is not known. Asked where anything bounds the call. */
  amount(): Promise<string | null>
  /** Ends the waiting for calls under way. */
  signal?: AbortSignal | undefined
}

/** Reserves what a call may cost in every budget that it counts for. Null: in none. Throws BudgetRefusal. */
export async function hold(ctx: ServiceContext, charge: Charge, call: BoundCall): Promise<Hold | null> {
  const { recipes, workflow, runs } = await charge.above()
  const inner = [...(call.workflowBounded && workflow !== null ? [workflow] : []), ...runs]
  const outer = call.bounded ? [ctx.actor.workspaceId, charge.keyId, charge.agentId, ...recipes] : []
  const scopes = [...outer.filter((id) => id !== null), ...inner]
  if (scopes.length === 0) return null
  const reservation: Reservation = {
    key: `${charge.key}#${call.index}`,
    attempt: charge.attempt,
    workspaceId: ctx.actor.workspaceId,
    scopes,
    inner: inner.length,
    amount: await call.amount(),
    lapsesAfterSeconds: ctx.config.modelTimeoutS + graceSeconds,
  }
  const ask = (expected: number) => charge.steadily(() => reserve(ctx.db, { ...reservation, inner: expected }))
  const look = async () => {
    const verdict = await ask(inner.length)
    if (verdict.kind !== 'missing') return verdict
    await charge.prepare()
    // What was deleted in the meantime bounds nothing any more.
    return ask(0)
  }
  let verdict = await look()
  for (let looks = 0; isBusy(verdict) && (await charge.whileBusy?.(looks, call.signal)); looks++) verdict = await look()
  if (verdict.kind === 'refused') throw new BudgetRefusal(verdict.refusal, call.who)
  return verdict.kind === 'reserved' ? holdOf(ctx, charge, reservation) : null
}

const isBusy = (verdict: Verdict): boolean => verdict.kind === 'refused' && verdict.refusal.reason === 'busy'

const holdOf = (ctx: ServiceContext, charge: Charge, reservation: Reservation): Hold => ({
  async settle(cost) {
    try {
      const unpriced = reservation.amount === null && cost === null
      await charge.steadily(() => settle(ctx.db, reservation, cost, unpriced))
      charge.settled?.()
    } catch (error) {
      ctx.log.warn('What a model call has cost could not be counted: its reservation lapses.', { error })
    }
  },
})
