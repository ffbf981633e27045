import type { IdentityProvider } from '../../support/jwks-server.ts'
import type { TestApp } from '../../support/app.ts'
import { signInUser, type UserClient } from '../../support/user.ts'
import { roles, type Role } from '../../../src/lib/permissions.ts'
import type { World } from './world.ts'

/** One request of somebody; the headers are those that come on top. */
export type Ask = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Response>

interface Member {
  client: UserClient
  userId: string
}

/** People who have one role in whatever workspace they are brought into, so that a workspace costs a row and no sign-in. */
export class People {
  readonly #app: TestApp
  readonly #provider: IdentityProvider
  readonly #members = new Map<string, Promise<Member>>()

  constructor(app: TestApp, provider: IdentityProvider) {
    this.#app = app
    this.#provider = provider
  }

  /** A token of an hour: a walk may take longer than the minute that others live. */
  async signIn(): Promise<Member> {
    const exp = Math.floor(Date.now() / 1000) + 3_600
    const client = await signInUser(this.#app, this.#provider, { claims: { exp } })
    return { client, userId: (await client.me()).user.id }
  }

  /** Requests of a member with this role; `alone`: somebody who is in no other workspace of the walk. */
  async as(role: string, world: World, alone = false): Promise<Ask> {
    const client = await this.join(role, world, alone)
    return (method, path, body, headers) =>
      client.request(method, path, body, { 'x-workspace-id': world.workspaceId, ...headers })
  }

  async join(role: string, { workspaceId }: World, alone = false): Promise<UserClient> {
    let member = alone ? undefined : this.#members.get(role)
    if (!member) {
      member = this.signIn()
      if (!alone) this.#members.set(role, member)
    }
    const { client, userId } = await member
    await this.#app.db
      .insertInto('memberships')
      .values({ workspace_id: workspaceId, user_id: userId, role })
      .onConflict((c) => c.doNothing())
      .execute()
    return client
  }
}

export const allRoles: readonly Role[] = [...roles].toReversed()
