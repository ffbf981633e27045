import { escapeHtml } from '../../lib/openapi/html.ts'
import type { Fault } from '../../lib/errors.ts'
import type { Approval } from './approval.ts'

export interface PageView {
  approval: Approval
  /** Sent back with the decision. */
  token: string
  nonce: string
  /** What was written, where it is shown again because of faults. */
  draft?: { comment: string; payload: string }
  faults?: readonly Fault[]
}

/** What is to be decided and the form that decides it; or, once nobody can any more, what came of it. No script. */
export function approvalPage(view: PageView): string {
  const { approval, nonce } = view
  const title = approval.status === 'pending' ? 'Your decision, please' : titles[approval.status]
  return document(
    title,
    nonce,
    `<p class="soft">${escapeHtml(origin(approval))}</p>
<div class="message">${escapeHtml(approval.message)}</div>
${approval.status === 'pending' ? form(view) : outcome(approval)}`,
  )
}

/** For whoever comes with no valid link. */
export const noApprovalPage = (nonce: string): string =>
  document(
    'This link is not valid',
    nonce,
    '<p>It has expired, was withdrawn, or was not copied whole. Ask whoever sent it for another one.</p>',
  )

const titles: Record<Exclude<Approval['status'], 'pending'>, string> = {
  approved: 'Approved',
  rejected: 'Rejected',
  expired: 'Too late',
  canceled: 'Not needed any more',
}

const origin = ({ recipe_name, name, step_id, execution_id }: Approval) =>
  `${recipe_name ?? 'A run'}: ${name ?? step_id} (execution ${execution_id})`

function form({ approval, token, draft, faults = [] }: PageView): string {
  const payload = draft?.payload ?? pretty(approval)
  const listed = faults.map(({ pointer, detail }) => `<li>${escapeHtml(`${pointer || '/'} ${detail}`)}</li>`).join('')
  return `${listed && `<ul class="faults" role="alert">${listed}</ul>`}
<form method="post" action="/api/approvals/${escapeHtml(approval.id)}/page">
<input type="hidden" name="token" value="${escapeHtml(token)}">
${
  approval.payload === null
    ? ''
    : `<label for="payload">What is decided on. You may edit it before you approve.</label>
<textarea id="payload" name="payload" rows="${rowsFor(payload)}" spellcheck="false">\n${escapeHtml(payload)}</textarea>`
}
<label for="comment">Comment (may stay empty)</label>
<textarea id="comment" name="comment" rows="3" maxlength="4000">\n${escapeHtml(draft?.comment ?? '')}</textarea>
<p><button name="decision" value="approved">Approve</button> <button name="decision" value="rejected">Reject</button></p>
</form>
${approval.expires_at === null ? '' : `<p class="soft">Possible until ${escapeHtml(timeOf(approval.expires_at))}.</p>`}`
}

/** `23 November 2026 at 13:33 UTC`: whoever reads it may be anywhere, and the page runs no script that would know. */
const timeOf = (iso: string) =>
  `${new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' }).format(new Date(iso))} UTC`

/** On a telephone the buttons should not lie below an empty box. */
const rowsFor = (text: string) => Math.min(14, Math.max(3, text.split('\n').length + Math.floor(text.length / 40)))

export const pretty = ({ payload }: Approval): string => JSON.stringify(payload, null, 2)

function outcome(approval: Approval): string {
  const { status, decided_at, comment, decided_by } = approval
  const at = decided_at === null ? '' : `, on ${timeOf(decided_at)}`
  const by = typeof decided_by?.['name'] === 'string' ? ` by ${decided_by['name']}` : ''
  const lines = {
    pending: '',
    approved: `It was approved${by}${at}.`,
    rejected: `It was rejected${by}${at}.`,
    expired: 'The time for a decision is over.',
    canceled: 'The run has ended, or has gone on without this decision.',
  }
  return `<p role="status">${escapeHtml(lines[status])}</p>
${comment === null || comment === '' ? '' : `<p>Comment:</p><div class="message">${escapeHtml(comment)}</div>`}`
}

const document = (title: string, nonce: string, body: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">
:root { color-scheme: light dark }
body { margin: 0 auto; max-width: 44rem; padding: 1.5rem; font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.4rem }
.soft { opacity: .75; overflow-wrap: anywhere }
.message { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid; padding-left: 1rem; margin: 1rem 0 }
label { display: block; margin-top: 1rem }
textarea { box-sizing: border-box; width: 100%; font: inherit }
#payload { font-family: ui-monospace, monospace; font-size: .9rem }
button { font: inherit; padding: .5rem 1.25rem }
.faults { border-left: 3px solid; padding: .5rem 2rem }
</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
${body}
</body>
</html>
`
