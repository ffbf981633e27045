// Prints the shell commands of the README that talk to a running server: blocks fenced as ```sh with curl or npx automatos in them.
import { readFileSync } from 'node:fs'

const text = readFileSync(process.argv[2] ?? 'README.md', 'utf8')
for (const [, block] of text.matchAll(/```sh\n([\s\S]*?)```/g)) {
  if (!block || !/curl |npx automatos/.test(block)) continue
  console.log(
    block
      .replace(/^KEY=.*$/m, '')
      .replaceAll('http://127.0.0.1:8000', `http://127.0.0.1:${process.env['PORT'] ?? '8000'}`)
      .replaceAll(/curl -s /g, 'curl -fsS '),
  )
}
