import { isOperators, permissions } from '../../../src/lib/permissions.ts'
import type { Client, TestApp } from '../../support/app.ts'
import { workOff } from '../../support/workflows.ts'
import { fill, type WalkedOperation } from './operations.ts'
import { bodies, needs, queries, rows, rowsOf, type Maker } from './rows.ts'

/** All that counts outside the operator's workspace. */
export const ordinary = permissions.filter((permission) => !isOperators(permission))

export interface Made {
  id: string
  [field: string]: unknown
}
type Values = Record<string, string>

/**
 * A workspace whose rows are made when an operation first needs them: every parameter of every path names a row that is
 * there, so that no 404 in it is an accident. Names and texts of its rows hold a mark that is found nowhere else.
 */
export class World {
  readonly app: TestApp
  readonly owner: Client
  readonly mark: string
  /** Every value that has been made for a parameter. */
  readonly made = new Set<string>()
  readonly #rows = new Map<string, Promise<string>>()
  readonly #bodies = new Map<string, unknown>()

  static async create(app: TestApp, { isOperator = false } = {}): Promise<World> {
    return new World(app, await app.signIn(isOperator ? {} : { scopes: ordinary }))
  }

  private constructor(app: TestApp, owner: Client) {
    this.app = app
    this.owner = owner
    this.mark = `mark-${crypto.randomUUID().slice(0, 13)}`
    this.made.add(owner.workspaceId)
  }

  get workspaceId(): string {
    return this.owner.workspaceId
  }

  /** Makes a row as the owner's key would; throws where it is refused. */
  async post(path: string, body: unknown = {}): Promise<Made> {
    const response = await this.owner.post(path, body)
    const text = await response.text()
    if (!response.ok)
      throw new Error(`A row for the walk was refused. POST ${path} answered ${response.status}: ${text}`)
    return JSON.parse(text) as Made
  }
  async read(path: string): Promise<Made> {
    return (await (await this.owner.get(path)).json()) as Made
  }

  /** Carries out what is queued, as a process would. */
  work(): Promise<void> {
    return workOff(this.app.runtime)
  }

  /** What nobody but this workspace can know: marks, ids and secrets that were made here. */
  canaries(): string[] {
    return [this.mark, this.owner.key, ...this.made].filter((text) => text.length >= 16 && /\d/.test(text))
  }

  /** The row that a bare parameter name stands for. */
  row(name: string): Promise<string> {
    return this.#once(name, rows[name] ?? unknown(name, name), {})
  }

  /** Values of the parameters of this operation's path. */
  async valuesOf({ id, path, names }: WalkedOperation): Promise<Values> {
    if (needs[id]) await this.#once(`${id} needs`, async () => (await needs[id]!(this), ''), {})
    const given: Values = {}
    for (const name of names) {
      const upTo = path.slice(0, path.indexOf(`{${name}}`) + name.length + 2)
      const own = rowsOf[id]?.[name]
      const [key, maker] = own
        ? [`${id} ${name}`, own]
        : rows[upTo]
          ? [upTo, rows[upTo]]
          : [name, rows[name] ?? unknown(name, upTo)]
      given[name] = await this.#once(key, maker, { ...given })
    }
    return given
  }

  async pathOf(operation: WalkedOperation, values?: Values): Promise<string> {
    return fill(operation.path, values ?? (await this.valuesOf(operation))) + (queries[operation.id] ?? '')
  }

  /** A body that the operation takes, naming rows of this workspace where it names any. */
  async bodyOf({ id, json, method }: WalkedOperation): Promise<unknown> {
    const own = bodies[id]
    if (own) {
      if (!this.#bodies.has(id)) this.#bodies.set(id, await own(this))
      return this.#bodies.get(id)
    }
    return json?.example ?? (method === 'GET' || method === 'DELETE' ? undefined : {})
  }

  #once(key: string, maker: Maker, given: Values): Promise<string> {
    const known = this.#rows.get(key)
    if (known) return known
    const row = maker(this, given).then((value) => {
      this.made.add(value)
      return value
    })
    this.#rows.set(key, row)
    return row
  }
}

function unknown(name: string, where: string): Maker {
  return async () => {
    throw new Error(
      `Nothing makes a row for {${name}} of ${where}: add it to \`rows\` in test/security/support/rows.ts ` +
        `(by its name, or by the path up to it where the name has several meanings).`,
    )
  }
}
