//! Buckets and log groups, removed with everything in them.

use crate::printable::counted;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::call::{Refused, call};
use super::events::Tell;
use super::{Aws, StackError};

fn is_gone(refused: &Refused) -> bool {
    ["NoSuchBucket", "NotFound", "NoSuchUpload", "ResourceNotFoundException"].contains(&refused.code.as_str())
        || refused.text.contains("NoSuchBucket")
}

/// Removes every version of every object, and unfinished uploads. A bucket that is not there is empty.
pub(super) async fn empty_bucket(aws: &Aws, bucket: &str, tell: Tell<'_>) -> Result<(), StackError> {
    let what = format!("cannot empty the bucket `{bucket}`");
    let mut removed = 0;
    loop {
        // What was listed is gone afterwards: the first page is always the next.
        let page = match call(|| aws.s3.list_object_versions().bucket(bucket).send()).await {
            Ok(page) => page,
            Err(refused) if is_gone(&refused) => return Ok(()),
            Err(refused) => return Err(StackError::refused(&what, &refused)),
        };
        let versions = page.versions().iter().map(|one| (one.key(), one.version_id()));
        let markers = page.delete_markers().iter().map(|one| (one.key(), one.version_id()));
        let mut objects = Vec::new();
        for (key, version) in versions.chain(markers) {
            let object = ObjectIdentifier::builder()
                .key(key.unwrap_or_default())
                .set_version_id(version.map(str::to_owned))
                .build()
                .map_err(|error| StackError::other(format!("{what}: {error}")))?;
            objects.push(object);
        }
        if objects.is_empty() {
            break;
        }
        let count = objects.len();
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(|error| StackError::other(format!("{what}: {error}")))?;
        let answer = call(|| aws.s3.delete_objects().bucket(bucket).delete(delete.clone()).send())
            .await
            .map_err(|refused| StackError::refused(&what, &refused))?;
        if let Some(error) = answer.errors().first() {
            let words =
                format!("{}: {}", error.code().unwrap_or_default(), error.message().unwrap_or_default());
            return Err(StackError::said(format!("{what}: `{}`", error.key().unwrap_or_default()), &words));
        }
        removed += count;
    }
    loop {
        let page = match call(|| aws.s3.list_multipart_uploads().bucket(bucket).send()).await {
            Ok(page) => page,
            Err(refused) if is_gone(&refused) => return Ok(()),
            Err(refused) => return Err(StackError::refused(&what, &refused)),
        };
        if page.uploads().is_empty() {
            break;
        }
        for upload in page.uploads() {
            let (key, id) = (upload.key().unwrap_or_default(), upload.upload_id().unwrap_or_default());
            match call(|| aws.s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send()).await
            {
                Err(refused) if !is_gone(&refused) => return Err(StackError::refused(&what, &refused)),
                _ => {}
            }
        }
    }
    if removed > 0 {
        tell(&format!("emptied the bucket {bucket}: {}", counted(removed, "object")));
    }
    Ok(())
}

/// Empties a bucket and removes it.
pub(super) async fn remove_bucket(aws: &Aws, bucket: &str, tell: Tell<'_>) -> Result<(), StackError> {
    empty_bucket(aws, bucket, tell).await?;
    match call(|| aws.s3.delete_bucket().bucket(bucket).send()).await {
        Err(refused) if !is_gone(&refused) => {
            Err(StackError::refused(&format!("cannot remove the bucket `{bucket}`"), &refused))
        }
        _ => Ok(()),
    }
}

/// Whether a bucket is there.
pub(super) async fn has_bucket(aws: &Aws, bucket: &str) -> Result<bool, StackError> {
    match call(|| aws.s3.head_bucket().bucket(bucket).send()).await {
        Ok(_) => Ok(true),
        Err(refused) if is_gone(&refused) => Ok(false),
        Err(refused) => Err(StackError::refused(&format!("cannot look for the bucket `{bucket}`"), &refused)),
    }
}

/// Removes a log group. One that is not there is removed.
pub(super) async fn remove_log_group(aws: &Aws, name: &str) -> Result<(), StackError> {
    match call(|| aws.logs.delete_log_group().log_group_name(name).send()).await {
        Err(refused) if !is_gone(&refused) => {
            Err(StackError::refused(&format!("cannot remove the log group `{name}`"), &refused))
        }
        _ => Ok(()),
    }
}

/// Whether a log group of exactly this name is there.
pub(super) async fn has_log_group(aws: &Aws, name: &str) -> Result<bool, StackError> {
    let mut token = None;
    loop {
        let page = call(|| {
            let request = aws.logs.describe_log_groups().log_group_name_prefix(name);
            request.set_next_token(token.clone()).send()
        })
        .await
        .map_err(|refused| {
            StackError::refused(&format!("cannot look for the log group `{name}`"), &refused)
        })?;
        if page.log_groups().iter().any(|group| group.log_group_name() == Some(name)) {
            return Ok(true);
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(false);
        }
    }
}
