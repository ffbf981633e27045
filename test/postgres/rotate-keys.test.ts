import { expect, onTestFinished, test } from 'vitest'
import { createCipher, sealedBy } from '../../src/runtime/cipher.ts'
import { loadCredential } from '../../src/runtime/credential-reader.ts'
import { createSignIn } from '../../src/runtime/node/sign-in.ts'
import { createCredential } from '../../src/services/credentials.service.ts'
import { createTestDatabase } from '../support/database.ts'
import { folderForTest } from '../support/folder.ts'
import { startProcess } from '../support/process.ts'
import { createServiceContext } from '../support/service-context.ts'

const oldRing = `old:${btoa('a'.repeat(32))}`
const newRing = `new:${btoa('b'.repeat(32))},${oldRing}`
const credentials = 600

async function database() {
  const opened = await createTestDatabase()
  onTestFinished(() => opened.close())
  return opened
}

test(
  'a rotation that is killed half way loses nothing, is read through all the while, and ends when it is repeated',
  { timeout: 60_000 },
  async () => {
    const { db, url } = await database()
    const ctx = { ...(await createServiceContext({ db })), cipher: createCipher(oldRing) }
    const fields = (i: number) => ({ token: `token-${i}` })
    for (let i = 0; i < credentials; i++)
      await createCredential(ctx, { slug: `svc-${i}`, kind: 'bearer', hosts: ['a.example'], fields: fields(i) })
    const sealedByOld = async () => {
      const rows = await db.selectFrom('credentials').select('sealed').execute()
      return rows.filter(({ sealed }) => sealedBy(sealed) === 'old').length
    }
    const rotate = async () =>
      startProcess(process.execPath, ['src/cli/launch.js', 'src/cli/rotate-keys.ts'], {
        DATABASE_URL: url!,
        CREDENTIAL_ENCRYPTION_KEY: newRing,
        DATA_DIR: await folderForTest(),
        ENVIRONMENT: 'test',
      })

    // Every process of the product has the new ring by now, and reads whatever it finds.
    let reading = true
    let reads = 0
    const cipher = createCipher(newRing)
    const reader = (async () => {
      while (reading) {
        const i = reads++ % credentials
        const found = await loadCredential(db, cipher, ctx.actor.workspaceId, `svc-${i}`)
        if (found?.fields['token'] !== fields(i).token) throw new Error(`svc-${i} could not be read`)
      }
    })()

    const first = await rotate()
    await first.saying(/so far/)
    first.child.kill('SIGKILL')
    expect(await first.ended).toBe('SIGKILL')
    const left = await sealedByOld()
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThan(credentials)

    const second = await rotate()
    expect(await second.ended, second.stderr()).toBe(0)
    expect(second.stdout()).toContain(`${left} secrets sealed anew with the key "new".`)
    expect(await sealedByOld()).toBe(0)
    reading = false
    await reader
    expect(reads).toBeGreaterThan(100)
    const withoutOld = createCipher(newRing.split(',')[0]!)
    for (const i of [0, 300, credentials - 1])
      expect((await loadCredential(db, withoutOld, ctx.actor.workspaceId, `svc-${i}`))!.fields).toEqual(fields(i))
  },
)

test('a database is signed in to where the operator lets it, and nowhere else', async () => {
  const { url } = await database()
  const { hostname, port, username, password, pathname } = new URL(url!)
  const fields = {
    host: hostname,
    port: port || '5432',
    database: pathname.slice(1),
    username: decodeURIComponent(username),
    password: decodeURIComponent(password) || 'none',
    tls: 'disable',
  }
  const signIn = createSignIn(
    { egressAllow: [hostname, '127.0.0.0/8'] },
    async () => null,
    () => {},
  )
  const workspace = { workspaceId: 'w', hosts: [hostname] }
  await signIn('postgres', fields, workspace)
  await expect(signIn('postgres', { ...fields, database: 'no_such_database' }, workspace)).rejects.toMatchObject({
    kind: 'egress-failed',
    message: 'The database refused the sign-in (3D000).',
  })
  await expect(signIn('postgres', fields, { ...workspace, hosts: ['a.example'] })).rejects.toMatchObject({
    reason: 'credential',
  })
  const closed = createSignIn(
    { egressAllow: [] },
    async () => null,
    () => {},
  )
  await expect(closed('postgres', fields, workspace)).rejects.toMatchObject({ reason: 'address' })
})
