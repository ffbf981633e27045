// Replays the Dockerfile without Docker: each COPY, RUN and ENV in folders laid out like its stages, as a user who is not
// root; then the entry point, the health check against it, and its end by SIGTERM. What it cannot show is the base image.
import { spawn, spawnSync, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

const root = join(import.meta.dirname, '..')
const home = mkdtempSync(join(tmpdir(), 'automatos-image-'))
// Docker's users are none of this machine's; any id but 0 will do.
const user = process.getuid?.() === 0 ? { uid: 1000, gid: 1000 } : {}

interface Stage {
  root: string
  folder: string
  env: Record<string, string>
  entrypoint: string[]
  command: string[]
  healthcheck: string[]
}
const stages = new Map<string, Stage>()
let stage: Stage

const instructions = readFileSync(join(root, 'Dockerfile'), 'utf8')
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')

/** Absolute paths of the image, inside of the folder that stands for it. */
const inside = (text: string) => text.replace(/(?<=^|[\s"'=])\/(src|app|data)(?=$|[\s"'/])/g, `${stage.root}/$1`)

const handlers: Record<string, (rest: string) => void> = {
  FROM(rest) {
    const name = / AS (\w+)$/.exec(rest)?.[1] ?? 'final'
    stage = { root: join(home, name), folder: '/', env: {}, entrypoint: [], command: [], healthcheck: [] }
    stages.set(name, stage)
    makeFolder(stage.root)
  },
  WORKDIR(rest) {
    stage.folder = inside(rest)
    makeFolder(stage.folder)
  },
  ENV(rest) {
    for (const pair of rest.split(' ')) {
      const [name = '', value = ''] = pair.split('=')
      stage.env[name] = inside(value)
    }
  },
  COPY(rest) {
    const words = rest.split(' ')
    const option = (name: string) => words.find((word) => word.startsWith(`--${name}=`))?.split('=')[1]
    const paths = words.filter((word) => !word.startsWith('--'))
    const target = inside(paths.pop()!)
    const from = option('from')
    for (const path of paths) {
      if (from) copy(join(stages.get(from)!.root, path), target)
      else if (path === '.') for (const each of allowed()) copy(join(root, each), join(stage.folder, each))
      else copy(join(root, path), resolve(stage.folder, target, path))
    }
    if (option('chmod')) run('chmod', [option('chmod')!, target])
  },
  RUN(rest) {
    run('sh', ['-c', inside(rest)])
  },
  ENTRYPOINT: (rest) => (stage.entrypoint = (JSON.parse(rest) as string[]).map(inside)),
  CMD: (rest) => (stage.command = JSON.parse(rest) as string[]),
  HEALTHCHECK: (rest) => (stage.healthcheck = JSON.parse(rest.slice(rest.indexOf('['))) as string[]),
  USER() {},
  VOLUME() {},
  EXPOSE() {},
}

/** The context as .dockerignore leaves it: it names what is in. */
const allowed = () =>
  readFileSync(join(root, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1))

function makeFolder(path: string): void {
  mkdirSync(path, { recursive: true })
  if (user.uid !== undefined) spawnSync('chown', [`${user.uid}:${user.gid}`, path])
}

function copy(from: string, to: string): void {
  makeFolder(dirname(to))
  cpSync(from, to, { recursive: true })
  if (user.uid !== undefined) spawnSync('chown', ['-R', `${user.uid}:${user.gid}`, to])
}

/** How this machine reaches the registry. */
const network = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => /^(NODE_EXTRA_CA_CERTS|SSL_CERT_\w+|\w+_PROXY)$/i.test(name)),
)

const options = (): SpawnOptions => ({
  ...user,
  cwd: stage.folder,
  // The Node of this repository stands for that of the base image.
  env: {
    ...network,
    PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
    HOME: join(home, 'home'),
    ...stage.env,
  },
})

function run(command: string, args: string[]): void {
  const { status } = spawnSync(command, args, { ...options(), stdio: ['ignore', 'ignore', 'inherit'] })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`)
}

const sleep = (ms: number) => new Promise((resolved) => setTimeout(resolved, ms))

try {
  chmodSync(home, 0o755)
  makeFolder(join(home, 'home'))
  for (const line of instructions) {
    const [, name = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line)!
    console.log(`${name} ${rest.slice(0, 100)}`)
    const handle = handlers[name]
    if (!handle) throw new Error(`This replay does not know ${name}.`)
    handle(rest.trim())
  }

  stage = stages.get('final')!
  stage.env['PORT'] = '18767'
  const [command = '', ...args] = stage.entrypoint
  const server = spawn(command, [...args, ...stage.command], { ...options(), stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = once(server, 'exit')
  const [checker = '', ...checkerArgs] = stage.healthcheck
  const isHealthy = () => spawnSync(checker, checkerArgs, options()).status === 0
  for (let tries = 0; !isHealthy(); tries++) {
    if (server.exitCode !== null || tries > 120) throw new Error('The server did not become healthy.')
    await sleep(500)
  }
  console.log('healthy')
  server.kill('SIGTERM')
  const [code] = (await ended) as [number | null]
  if (code !== 0) throw new Error(`After SIGTERM the server ended with ${code}.`)
  console.log('image: every step of the Dockerfile passed')
} finally {
  rmSync(home, { recursive: true, force: true })
}
