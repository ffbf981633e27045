import type { Router } from 'hono/router'
import { AppError } from '../lib/errors.ts'
import type { Answer } from './pipeline.ts'
import { routedPath } from './template-router.ts'

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

/** The end of the pipeline where no route matched: 405 with Allow where another method would, OPTIONS, else 404. */
export function answerUnmatched(router: Pick<Router<unknown>, 'match'>): Answer {
  return ({ request, method }) => {
    const path = routedPath(request)
    const known = methods.filter((candidate) => router.match(candidate, path)[0].length > 0)
    if (known.length === 0) throw new AppError('not-found', 'There is nothing at this path.')
    const allow = [...known.flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name])), 'OPTIONS'].join(', ')
    if (method === 'OPTIONS') return { status: 204, headers: { allow } }
    throw new AppError('method-not-allowed', `${method} is not possible here. Allowed: ${allow}.`, {
      headers: { allow },
    })
  }
}
