#!/usr/bin/env node
import { main } from './automatos/main.ts'

// A reader that has seen enough (`| head`) closes the pipe; there is nobody left to complain to.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

// Not process.exit: what has been written to a pipe must leave first.
process.exitCode = await main(process.argv.slice(2))
