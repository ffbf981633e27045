import { z } from '@hono/zod-openapi'
import type { Runtime } from '../context.ts'
import { toBase64Url } from '../lib/base64url.ts'
import { canonicalJson } from '../lib/canonical.ts'
import { AppError, type Fault } from '../lib/errors.ts'
import { parseJsonBody } from '../lib/json-body.ts'
import type { Json } from '../lib/json.ts'
import { operation, type Reply, type RouteGroup } from '../lib/operation.ts'
import { approvalPage, decideByLink, noApprovalPage, openApprovalLink } from '../services/approvals.service.ts'
import { approvalParams } from './approvals.schemas.ts'

const largestForm = 1024 * 1024
const hidden = { kind: 'page', documented: false, access: 'public', params: approvalParams, responses: {} } as const

/** The page behind a signed link. A GET shows, and only the POST of its form decides: previews of links decide nothing. */
export const approvalPageRoutes: RouteGroup = {
  prefix: '/api/approvals',
  tag: 'Approvals',
  description: 'The page behind a signed link.',
  operations: [
    operation(
      {
        ...hidden,
        operationId: 'getApprovalPage',
        method: 'get',
        path: '/{approval}/page',
        summary: 'Show an approval to whoever has its link',
        query: z.object({ token: z.string().max(1_000).default('') }),
      },
      (runtime, { params, query }) => show(runtime, params.approval, query.token, {}),
    ),
    operation(
      {
        ...hidden,
        operationId: 'decideOnApprovalPage',
        method: 'post',
        path: '/{approval}/page',
        summary: 'Decide an approval by its link',
        maxBodyBytes: largestForm,
      },
      async (runtime, { params, request }) => {
        const form = new URLSearchParams(await request.text())
        return decide(runtime, params.approval, form)
      },
    ),
  ],
}

type Again = Pick<Parameters<typeof approvalPage>[0], 'draft' | 'faults'> & { status?: number }

async function show(runtime: Runtime, id: string, token: string, { status = 200, ...again }: Again): Promise<Reply> {
  const nonce = toBase64Url(runtime.random(16))
  try {
    const { approval } = await openApprovalLink(runtime, id, token)
    return html(status, approvalPage({ approval, token, nonce, ...again }), nonce)
  } catch (error) {
    if (error instanceof AppError && error.kind === 'not-found') return html(404, noApprovalPage(nonce), nonce)
    throw error
  }
}

async function decide(runtime: Runtime, id: string, form: URLSearchParams): Promise<Reply> {
  const token = form.get('token') ?? ''
  const draft = { comment: form.get('comment') ?? '', payload: form.get('payload') ?? '' }
  const again = (faults: readonly Fault[]) => show(runtime, id, token, { status: 422, draft, faults })
  const decision = form.get('decision')
  try {
    const opened = await openApprovalLink(runtime, id, token)
    if (decision !== 'approved' && decision !== 'rejected')
      return await again([{ pointer: '/decision', detail: 'choose to approve or to reject' }])
    const comment = draft.comment.trim().slice(0, 4_000)
    const edited =
      decision === 'approved' && form.has('payload') ? editedOf(draft.payload, opened.approval.payload) : null
    if (edited === 'no JSON')
      return await again([{ pointer: '/payload', detail: 'is not JSON, or is nested too deep' }])
    await decideByLink(runtime, opened, {
      decision,
      ...(comment !== '' && { comment }),
      ...(edited !== null && { payload: edited.value }),
    })
    return await show(runtime, id, token, {})
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    if (error.kind === 'invalid') return again(error.errors ?? [{ pointer: '', detail: error.detail }])
    // Somebody was faster: the page tells what was decided.
    if (error.kind === 'conflict') return show(runtime, id, token, { status: 409 })
    if (error.kind === 'not-found') return show(runtime, id, token, {})
    throw error
  }
}

/** Null: the text says what the payload says already. */
function editedOf(text: string, payload: Json): { value: Json } | 'no JSON' | null {
  let value: Json
  try {
    value = parseJsonBody(new TextEncoder().encode(text)) as Json
  } catch (error) {
    if (error instanceof AppError && error.kind === 'malformed') return 'no JSON'
    throw error
  }
  return canonicalJson(value) === canonicalJson(payload) ? null : { value }
}

const html = (status: number, body: string, nonce: string): Reply => ({
  status,
  contentType: 'text/html; charset=utf-8',
  headers: {
    'content-security-policy': `default-src 'none'; style-src 'nonce-${nonce}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
    // The address is the proof: it must not travel on, be kept or be found.
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
    'x-robots-tag': 'noindex, nofollow',
  },
  body,
})
