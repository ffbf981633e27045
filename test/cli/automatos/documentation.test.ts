import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { expect, test } from 'vitest'
import { createProgram } from '../../../src/cli/automatos/main.ts'
import { exitCodes } from '../../../src/cli/automatos/exit-codes.ts'
import { Outcome } from '../../../src/cli/automatos/session.ts'

const page = await readFile(new URL('../../../docs/cli.md', import.meta.url), 'utf8')
const program = createProgram(new Outcome())
const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)
const isCommon = (flag: string | undefined) => ['--url', '--key', '--json'].includes(flag ?? '')

/** `automatos recipe apply <path...>` */
function lineOf(command: Command): string {
  const names = []
  for (let at: Command | null = command; at; at = at.parent) names.unshift(at.name())
  const args = command.registeredArguments.map((argument) => {
    const name = argument.name() + (argument.variadic ? '...' : '')
    return argument.required ? `<${name}>` : `[${name}]`
  })
  return [...names, ...args].join(' ')
}

test('the page has a section for each command that the help names, and for no other', () => {
  const sections = [...page.matchAll(/^### `(.*)`$/gm)].map(([, line]) => line)
  expect(sections).toEqual(leaves(program).map(lineOf))
})

test.each(leaves(program).map((command) => [lineOf(command), command] as const))(
  '%s: every option is on the page, and the help of a client command has an example',
  (line, command) => {
    const section = page.slice(page.indexOf(`### \`${line}\``)).split(/\n##+ /)[0]!
    const own = command.options.filter(({ long }) => !isCommon(long))
    for (const { long, short, flags } of own) {
      expect(section).toContain(`\`${flags.slice(flags.indexOf('--'))}`)
      if (short) expect(section).toContain(`\`${short}\`, \`${long}`)
    }
    const flagsOnPage = [...section.matchAll(/`(--[a-z][a-z-]*)/g)].map(([, flag]) => flag)
    const known = new Set([...own.map(({ long }) => long), '--url', '--key', '--json'])
    expect(flagsOnPage.filter((flag) => !known.has(flag))).toEqual([])

    let help = ''
    command.configureOutput({ writeOut: (text) => void (help += text) })
    command.outputHelp()
    const isClient = command.options.some(({ long }) => long === '--url')
    if (isClient) expect(help).toContain('Examples:')
  },
)

test('every exit code is on the page, and no other', () => {
  const table = page.slice(page.indexOf('## Exit codes')).split('\n## ')[0]!
  const codes = [...table.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code))
  expect(codes).toEqual(Object.values(exitCodes))
})
